// People as companies have them: names of several scripts, some of many and most of few, each with an email and half with a username.
// The same ones for the same numbers, wherever they are made.

const given =
  'Anna Maria John James Mary Peter Thomas Michael Sarah Laura David Daniel Emma Sofia Lucas Martin Elena Marco Julia Paul Nina Jan Eva Ali Omar Fatima Ahmed Leïla Zoë René Chloé Jürgen Günther Käthe Björn Åsa Søren Øyvind Łukasz Małgorzata Željko Šárka Ağahan Çağla İbrahim Núria José Ángel João Conceição Иван Мария Сергей Анна Дмитрий Ольга Юлія Андрій Γιώργος Μαρία Ελένη Νίκος 伟 芳 秀英 敏 静 磊 洋 勇 さくら 陽菜 翔太 健 서연 민준 지우 도윤 محمد فاطمة علي مريم आरव अनन्या प्रिया राहुल Nguyen Linh Thảo Đức Priya Arjun Wei Ming Yuki Haruto Amara Chidi Thabo Naledi'.split(
    ' ',
  );
const family =
  'Smith Johnson Brown Garcia Miller Davis Martinez Anderson Andersson Taylor Wilson Moore Jackson Lee White Harris Clark Lewis Walker Hall Young King Wright Hill Green Baker Müller Schmidt Schneider Fischer Weber Meyer Wagner Becker Schulz Hoffmann Koch Bauer Richter Wolf Schröder Neumann Zimmermann Krüger Hofmann Dubois Durand Lefèvre Moreau Rossi Russo Ferrari Esposito Bianchi Silva Santos Oliveira Souza Fernández González Rodríguez López Hernández Núñez Peña Kowalski Wiśniewski Wójcik Kamiński Novák Svoboda Dvořák Černý Horvat Kovač Jansen Bakker Visser Hansen Johansen Olsen Larsen Nilsson Eriksson Öberg Åkesson Korhonen Yılmaz Kaya Demir Öztürk Иванов Смирнов Кузнецов Попов Шевченко Коваленко Παπαδόπουλος Γεωργίου 王 李 张 刘 陈 杨 赵 黄 周 吴 佐藤 鈴木 高橋 田中 김 이 박 최 حسن حسين أحمد शर्मा वर्मा सिंह गुप्ता Nguyễn Trần Phạm Tanaka Sato Suzuki Okafor Mensah Dlamini Nkosi O’Neil MacDonald'.split(
    ' ',
  );
/** Of which rarer family names are made. */
const syllables =
  'ba be bo da de do fa fe ga go ha ho ka ke ko la le lo ma me mo na ne no pa po ra re ro sa se so ta te to va vo wa za zo'.split(' ');
const domains = 40;

const array = (texts: readonly string[]) => `array[${texts.map((text) => `'${text.replaceAll("'", "''")}'`).join(', ')}]`;

/**
 * Columns n, name, surname, email, username and status of people by their numbers.
 * @param range SQL, such as `generate_series(1, 1000)`
 */
export function peopleSql(range: string): string {
  const random = (seed: number) => `((hashint8extended(n, ${seed}) & 1048575) / 1048576.0)`;
  // The first of a list are the most frequent.
  const pick = (list: string, count: number, seed: number) => `${list}[1 + floor(${count} * power(${random(seed)}, 1.5))::int]`;
  const syllable = (seed: number) => `lists.syllables[1 + floor(${syllables.length} * ${random(seed)})::int]`;
  return `select n, ${pick('lists.given', given.length, 1)} as name,
      case when ${random(2)} < 0.7 then ${pick('lists.family', family.length, 3)}
        else initcap(${[4, 5, 6].map(syllable).join(' || ')}) end as surname,
      'p' || n || '@company' || floor(${domains} * power(${random(7)}, 2))::int || '.example' as email,
      case when n % 2 = 0 then 'person' || n end as username,
      case when n % 100 = 0 then 'suspended' else 'active' end as status
    from (select generated as n from ${range} as generated) as numbers,
      (values (${array(given)}, ${array(family)}, ${array(syllables)})) as lists (given, family, syllables)`;
}
